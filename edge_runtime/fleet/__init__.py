"""The device and its fleet over MQTT: the link, commands and what they do. The only room that knows paho."""

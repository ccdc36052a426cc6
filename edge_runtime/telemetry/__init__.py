"""What a device says about itself: messages, topics, the spool they wait in, and the uplink that sends them."""

"""Where frames come from: V4L2 devices, RTSP, HTTP (MJPEG, stills), video files, folders of stills."""

"""A real RTSP server for the tests: GStreamer's. Run by the system's Python, which has `gi`.

    python3 rtsp_server.py PORT CODEC WIDTH HEIGHT FPS [USER PASSWORD]

CODEC is h264 or jpeg; the picture is SMPTE bars. Says `ready PORT`. Ends with its standard input.
"""

import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

port, codec, width, height, fps, *login = sys.argv[1:]
Gst.init(None)
encoders = {
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 bitrate=2000 ! rtph264pay name=pay0 pt=96",
    "jpeg": "jpegenc quality=90 ! rtpjpegpay name=pay0 pt=26",
}
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(port)
factory = GstRtspServer.RTSPMediaFactory()
caps = f"video/x-raw,format=I420,width={width},height={height},framerate={fps}/1"
factory.set_launch(f"( videotestsrc is-live=true pattern=smpte75 ! {caps} ! {encoders[codec]} )")
factory.set_shared(True)
if login:
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(*login), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("user", "media.factory.access", True)
    permissions.add_permission_for_role("user", "media.factory.construct", True)
    factory.set_permissions(permissions)
server.get_mount_points().add_factory("/cam", factory)
if not server.attach(None):
    sys.exit(1)
loop = GLib.MainLoop()
threading.Thread(target=lambda: (sys.stdin.read(), loop.quit()), daemon=True).start()
sys.stdout.write(f"ready {server.get_bound_port()}\n")
sys.stdout.flush()
loop.run()

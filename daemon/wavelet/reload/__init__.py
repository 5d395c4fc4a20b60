"""New settings for a running daemon: all of them count from one moment on, or none.

`reloader` reads, decides and asks the services, `trial` tries settings without a daemon. Connections, transfers and
jobs go on with what they began with. The room stands at the top, beside `app`, and builds nothing.
"""

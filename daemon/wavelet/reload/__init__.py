"""New settings for a running daemon: all of them count from one moment on, or none.

`watch` sees that files change, `reloader` reads and decides, `parts` knows which room takes what. Connections,
transfers and jobs go on with what they began with. The room stands at the top, beside `app`, and builds nothing.
"""

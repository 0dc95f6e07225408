"""Control sockets: tagged messages, framing, request and reply with deadlines."""

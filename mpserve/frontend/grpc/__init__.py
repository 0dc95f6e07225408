"""gRPC: services as bytes in, bytes out, and the transport that carries them."""

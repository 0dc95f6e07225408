"""Wire bytes <-> request and response shapes. No sockets: bytes in, Structs or errors out."""

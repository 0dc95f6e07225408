"""What an inference, a load or an index is, whatever the wire. The wires translate to it."""

"""Protobuf messages and services of both peers, compiled at run time from the files here."""

"""The command `mpserve`: turns argv and environment into `Settings`, prints for people."""

"""A server under measurement: started, watched, stopped; what its processes used."""

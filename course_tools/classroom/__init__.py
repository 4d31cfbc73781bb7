"""A class that is simulated, to try a server before the real one comes."""

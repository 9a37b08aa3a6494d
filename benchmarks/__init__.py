"""How fast the engine is: side by side with the usual loop, with other libraries, and with what the hardware allows."""

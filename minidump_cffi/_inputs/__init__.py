"""Files as inputs: opening, recognising, unpacking, and spooling of what cannot be read at any offset."""

"""The inbox: the door through which a customer pushes raw transactions over HTTPS. It only seals."""

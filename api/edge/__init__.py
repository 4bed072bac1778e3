"""What every request passes on its way in and out, before a route knows of it: written against ASGI itself."""

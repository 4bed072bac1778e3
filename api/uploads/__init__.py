"""Uploads over tus 1.0.0 (https://tus.io/protocols/resumable-upload): files that arrive whole over lines that break."""

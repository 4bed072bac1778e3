"""Disk images of other formats: told apart by their content, looked at before they are believed, turned into raw disks."""

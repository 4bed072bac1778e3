"""The language: what people may say to GGnet. Pure: no files, no clock, no network."""

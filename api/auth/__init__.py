"""Who is asking: accounts, logins, keys, and what of them is told onwards."""

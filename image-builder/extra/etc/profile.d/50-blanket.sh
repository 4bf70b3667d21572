# What an operator makes here is nobody else's to read; a shell that was left open ends after an hour without a key.
umask 027
TMOUT=3600

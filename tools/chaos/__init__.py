"""`make chaos`: everything is killed, again and again, under load; nothing acknowledged may be lost or doubled."""

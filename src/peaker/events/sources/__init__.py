"""What is listened to: objects of buckets and folders, queues, topics, tables. One file each; see `source.py`."""

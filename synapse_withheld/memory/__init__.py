"""What is known to be queued, within limits.

Pure: nothing here knows of Synapse, SQL, Twisted or the time. It imports `rules`.
"""

"""What is known to be queued, within limits, and what a notice is believed to be.

Pure: nothing here knows of Synapse, SQL, Twisted or the time. It imports `rules`.
"""

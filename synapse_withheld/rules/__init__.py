"""What messages are, and which of them make which redundant.

Pure: nothing here knows of Synapse, SQL, Twisted or the time. It imports `config`.
"""

"""The releases of Synapse that the module was tested with.

`python -m tests.compat --short --page` writes them, here and in docs/compatibility.md.
"""

RELEASES = """\
1.152.0 1.153.0 1.154.0 1.155.0 1.156.0 1.157.0 1.158.0 1.159.0 1.160.0 1.161.0
1.162.0 1.163.0
"""

"""Questions that theories of deep learning ask, answered by measurements of flows.

Each module has one question, and a function that returns a report.
"""

"""The formats of access logs, one file a family, each turning blocks of lines into columns."""

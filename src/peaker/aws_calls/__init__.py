"""The few calls of AWS's interfaces that Peaker itself makes, signed and sent without boto3."""

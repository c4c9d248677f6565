"""Files in folders elsewhere, which we look at and fetch: what sFTP servers, buckets and import folders share."""

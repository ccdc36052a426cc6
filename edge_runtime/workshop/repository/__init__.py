"""The operator's side of a model repository: a plain folder of signed files that any web server, share or stick serves."""

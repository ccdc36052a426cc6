"""From models, receipts and data to the bundle: what a device needs so that it can check, read and judge a model."""

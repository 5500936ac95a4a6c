"""Money that is spent when a job ends: fine-tuning and batches that were begun through the gateway."""

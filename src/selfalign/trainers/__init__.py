"""What fits models: each adapter one implementation of `ports.Trainer`."""

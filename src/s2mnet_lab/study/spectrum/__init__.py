"""The study ``spectral``: energy within the central K×K frequencies (SPEC 3.3), of images and inside a network."""

"""The laboratory: benchmarks, studies and comparisons. It imports the product and is never imported by it."""

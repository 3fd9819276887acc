"""The compiled engine: `loop` carries groups of trials through the bars, on the `state` of their lanes."""

"""From a training frame to a fitted, tuned and measured model; frames go in, values come out."""

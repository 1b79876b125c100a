"""The doctor as a callback of other people's trainers. Each file needs its library; danlu needs none of them."""

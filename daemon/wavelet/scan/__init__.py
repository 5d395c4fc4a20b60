"""What is said about images: their software bill of materials. Pure; nothing here knows how images are made."""

"""The server is killed while it works; nothing that it answered 2xx may be missing afterwards."""

"""The API as JSON over HTTPS, under /api/v1: transcoded from its protobuf definitions, for the token that is sent."""

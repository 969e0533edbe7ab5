"""gRPC for agents: who joins, who is connected, what they are told and say."""

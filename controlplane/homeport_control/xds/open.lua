-- The door of a service that asks for no token (`auth: false`): every request is let in.
function envoy_on_request(handle)
  local headers = handle:headers()
  headers:remove("@SEAL@")
  if expect_usage then expect_usage(handle, headers) end
  if keep_together then keep_together(handle, headers) end
end

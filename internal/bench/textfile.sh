# Writes a textfile as for the node_exporter, with curl and one program for jq. It
# is told where the list is, the length of a page, the API key and the value of
# the label control_plane.
set -euo pipefail
list_url=$1 page_size=$2 api_key=$3 control_plane=$4

fetch() { # the pages at the offsets $1
	curl --silent --show-error --fail --compressed --header "Authorization: Bearer $api_key" "$list_url?limit=$page_size&offset=$1"
}

# The program goes through the items one by one: node_exporter sorts by metric.
program='
def seconds: (.[:19] + "Z" | fromdateiso8601) + ("0" + .[19:-1] | tonumber);
def boolean: if . then 1 else 0 end;
.data[]
| .jwts[0] as $jwt | .createdBySubject as $creator
| "control_plane=\($control_plane | tojson),creator=\($creator.subjectSlug | tojson)" as $first
| ("id=\(.id | tojson),kind=\(.type | tojson),name=\(.name | tojson),target=\"bench\"," +
	"team=\(.manifest.ownedBy.team | tojson),tenant=\(.tenantName | tojson)") as $last
| "truefoundry_token_created_timestamp_seconds{\($first),\($last)} \(.createdAt | seconds)",
	"truefoundry_token_expired{\($first),\($last)} \(.isExpired | boolean)",
	"truefoundry_token_expires{\($first),\($last)} \($jwt.expiry != null | boolean)",
	"truefoundry_token_expiry_timestamp_seconds{\($first),\($last)} \($jwt.expiry | seconds)",
	"truefoundry_token_info{\($first),creator_type=\($creator.subjectType | tojson),\($last),token_type=\($jwt.tokenType | tojson)} 1",
	"truefoundry_token_issued_timestamp_seconds{\($first),\($last)} \($jwt.createdAt | seconds)",
	"truefoundry_token_last_accessed_timestamp_seconds{\($first),\($last)} \(.lastAccessedAt | seconds)",
	"truefoundry_token_next_rotation_timestamp_seconds{\($first),\($last)} \(.nextScheduledRotation | seconds)"
'

# The first page is fetched twice: once for the number of tokens.
total=$(fetch 0 | jq .pagination.total)
fetch "{$(seq --separator=, 0 "$page_size" "$total")}" | jq --raw-output --arg control_plane "$control_plane" "$program"

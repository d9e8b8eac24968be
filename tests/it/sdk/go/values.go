package main

import (
	"time"

	vault "github.com/hashicorp/vault/api"
)

const (
	unknownToken    = "s.unknownunknownunknownun"
	unknownSecretID = "00000000-0000-4000-8000-000000000000"
)

// refused holds the statuses of a write to a read-only place: by policy, or by the wire's way to say so.
var refused = []int{403, 405}

func first() map[string]any {
	return map[string]any{
		"user": "app", "password": "made-up-first", "unicode": "grüße, 雪 & <tags>",
		"lines": "one\ntwo\ttabbed \"quoted\" \\ back", "number": 1234567890123, "fraction": 0.25, "flag": true,
		"nothing": nil, "empty": "",
		"nested": map[string]any{"list": []any{1, "two", map[string]any{"three": 3}}, "object": map[string]any{}},
	}
}

func second() map[string]any {
	return map[string]any{"user": "app", "password": "made-up-second"}
}

// showValue shows a secret as the client's typed form has it; a time the client left empty is shown empty.
func showValue(secret *vault.KVSecret, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	shown := map[string]any{"data": secret.Data, "custom_metadata": secret.CustomMetadata}
	if secret.VersionMetadata != nil {
		shown["metadata"] = showVersion(*secret.VersionMetadata)
	}
	if secret.Raw != nil {
		shown["request_id"] = secret.Raw.RequestID
		shown["lease_duration"] = secret.Raw.LeaseDuration
	}
	return shown, nil
}

func showVersion(about vault.KVVersionMetadata) map[string]any {
	return map[string]any{
		"version": about.Version, "created_time": moment(about.CreatedTime),
		"deletion_time": moment(about.DeletionTime), "destroyed": about.Destroyed,
	}
}

func showMetadata(about *vault.KVMetadata, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	versions := map[string]any{}
	for number, one := range about.Versions {
		versions[number] = showVersion(one)
	}
	return map[string]any{
		"cas_required": about.CASRequired, "created_time": moment(about.CreatedTime), "updated_time": moment(about.UpdatedTime),
		"current_version": about.CurrentVersion, "oldest_version": about.OldestVersion, "max_versions": about.MaxVersions,
		"delete_version_after": about.DeleteVersionAfter.String(), "custom_metadata": about.CustomMetadata, "versions": versions,
	}, nil
}

func moment(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.Format(time.RFC3339Nano)
}

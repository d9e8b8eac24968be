package main

import (
	"fmt"
	"strings"
	"time"

	vault "github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/approle"
)

// answer turns what the untyped calls return into what a step records; a missing secret is nil and no error.
func answer[T any](data *T, err error) (any, error) {
	if err != nil || data == nil {
		return nil, err
	}
	return data, nil
}

// done is for calls that return nothing but an error.
func done(err error) (any, error) {
	return nil, err
}

func (s *session) connect() *vault.Client {
	role := s.plan.AppRole
	if role == nil {
		return s.newClient(s.plan.Token)
	}
	client := s.newClient("")
	mount := role.Mount
	if mount == "" {
		mount = "approle"
	}
	login := func(secretID string) func() (any, error) {
		return func() (any, error) {
			method, err := approle.NewAppRoleAuth(role.RoleID, &approle.SecretID{FromString: secretID}, approle.WithMountPath(mount))
			if err != nil {
				return nil, err
			}
			return answer(client.Auth().Login(s.ctx, method)) // the client goes on with the token it got
		}
	}
	s.step("login_bad_secret", login(unknownSecretID), 400)
	s.step("login", login(role.SecretID), 200)
	return client
}

func (s *session) server(client *vault.Client) {
	plan := s.plan
	data := plan.KV2Mount + "/data/"
	capabilities := func(path string) func() (any, error) {
		return func() (any, error) { return client.Sys().CapabilitiesSelf(path) }
	}
	read := func(path string) func() (any, error) {
		return func() (any, error) { return answer(client.Logical().Read(path)) }
	}
	s.step("health", func() (any, error) { return answer(client.Sys().Health()) }, 200)
	s.step("seal_status", func() (any, error) { return answer(client.Sys().SealStatus()) }, 200)
	s.step("leader", func() (any, error) { return answer(client.Sys().Leader()) }, 200)
	s.step("lookup_self", func() (any, error) { return answer(client.Auth().Token().LookupSelf()) }, 200)
	s.step("capabilities_readonly", capabilities(data+plan.ReadonlyPrefix+"/db"), 200)
	if plan.WritablePrefix != "" {
		s.step("capabilities_writable", capabilities(data+plan.WritablePrefix+"/one"), 200)
	}
	s.step("capabilities_denied", capabilities(data+plan.DeniedPath), 200)
	s.step("preflight_mount", read("sys/internal/ui/mounts/"+plan.KV2Mount), 200)
	s.step("preflight_path", read("sys/internal/ui/mounts/"+plan.KV2Mount+"/"+plan.ReadonlyPrefix+"/db"), 200)
	if plan.AppRole != nil && plan.Token != "" {
		other := s.newClient(plan.Token)
		s.step("static_token_lookup", func() (any, error) { return answer(other.Auth().Token().LookupSelf()) }, 200)
		s.step("static_token_read", func() (any, error) { return showValue(other.KVv2(plan.KV2Mount).Get(s.ctx, plan.ReadonlyPrefix+"/db")) }, 200)
	}
}

func (s *session) reads(client *vault.Client) {
	plan := s.plan
	kv, prefix := client.KVv2(plan.KV2Mount), plan.ReadonlyPrefix
	list := func(name, folder string, want int) {
		s.step(name, func() (any, error) { return answer(client.Logical().List(plan.KV2Mount + "/metadata/" + folder)) }, want)
	}
	read := func(name, path string, want int) {
		s.step(name, func() (any, error) { return showValue(kv.Get(s.ctx, prefix+path)) }, want)
	}
	readVersion := func(name, path string, number, want int) {
		s.step(name, func() (any, error) { return showValue(kv.GetVersion(s.ctx, prefix+path, number)) }, want)
	}
	list("list", prefix, 200)
	list("list_nested", prefix+"/nested", 200)
	list("list_missing", prefix+"/missing", 404)
	read("read", "/db", 200)
	readVersion("read_version_1", "/db", 1, 200)
	readVersion("read_version_2", "/db", 2, 200)
	readVersion("read_version_missing", "/db", 99, 404)
	read("read_nested", "/nested/deep", 200)
	read("read_missing", "/missing", 404)
	read("read_folder", "/nested", 404)
	read("read_deleted", "/gone", 404)
	readVersion("read_destroyed", "/destroyed", 1, 404)
	s.step("read_raw", func() (any, error) { return answer(client.Logical().Read(plan.KV2Mount + "/data/" + prefix + "/api")) }, 200)
	s.step("read_raw_missing", func() (any, error) {
		return answer(client.Logical().Read(plan.KV2Mount + "/data/" + prefix + "/missing"))
	}, 404)
	s.step("metadata", func() (any, error) { return showMetadata(kv.GetMetadata(s.ctx, prefix+"/db")) }, 200)
	s.step("metadata_missing", func() (any, error) { return showMetadata(kv.GetMetadata(s.ctx, prefix+"/missing")) }, 404)
	s.step("subkeys", func() (any, error) {
		return answer(client.Logical().Read(plan.KV2Mount + "/subkeys/" + prefix + "/db"))
	}, 200)
	s.readonly(kv)
}

// readonly tries to change things where nothing may be changed.
func (s *session) readonly(kv *vault.KVv2) {
	probe := s.plan.ReadonlyPrefix + "/probe-go"
	want := func(status int) []int {
		if s.plan.ExpectReadonly {
			return refused
		}
		return []int{status}
	}
	s.step("write_readonly", func() (any, error) { return showValue(kv.Put(s.ctx, probe, second())) }, want(200)...)
	s.step("patch_readonly", func() (any, error) { return showValue(kv.Patch(s.ctx, probe, second())) }, want(200)...)
	s.step("delete_readonly", func() (any, error) { return done(kv.Delete(s.ctx, probe)) }, want(204)...)
	s.step("destroy_readonly", func() (any, error) { return done(kv.Destroy(s.ctx, probe, []int{1})) }, want(204)...)
	s.step("metadata_write_readonly", func() (any, error) {
		return done(kv.PutMetadata(s.ctx, probe, vault.KVMetadataPutInput{CustomMetadata: map[string]any{"owner": "sdk-session"}}))
	}, want(204)...)
	s.step("metadata_delete_readonly", func() (any, error) { return done(kv.DeleteMetadata(s.ctx, probe)) }, want(204)...)
}

// writes is the life of one secret on the writable prefix, from its first version to a destroyed one.
func (s *session) writes(client *vault.Client) {
	kv, path := client.KVv2(s.plan.KV2Mount), s.plan.WritablePrefix+"/one"
	raw := s.plan.KV2Mount + "/data/" + path
	put := func(name string, data map[string]any, want int, options ...vault.KVOption) {
		s.step(name, func() (any, error) { return showValue(kv.Put(s.ctx, path, data, options...)) }, want)
	}
	read := func(name string, want int) {
		s.step(name, func() (any, error) { return showValue(kv.Get(s.ctx, path)) }, want)
	}
	readVersion := func(name string, number, want int) {
		s.step(name, func() (any, error) { return showValue(kv.GetVersion(s.ctx, path, number)) }, want)
	}
	patch := func(name string, data map[string]any, want int, options ...vault.KVOption) {
		s.step(name, func() (any, error) { return showValue(kv.Patch(s.ctx, path, data, options...)) }, want)
	}
	put("write_create", first(), 200, vault.WithCheckAndSet(0))
	read("write_create_read", 200)
	put("cas_create_again", second(), 400, vault.WithCheckAndSet(0))
	put("cas_write", second(), 200, vault.WithCheckAndSet(1))
	put("cas_mismatch", second(), 400, vault.WithCheckAndSet(1))
	put("write_no_cas", map[string]any{"password": "made-up-third"}, 200)
	patch("patch_read_write", map[string]any{"password": "made-up-patched", "added": "by-patch"}, 200, vault.WithMergeMethod(vault.KVMergeMethodReadWrite))
	read("patch_read_write_read", 200)
	patch("patch", map[string]any{"added": nil, "again": "yes"}, 200)
	read("patch_read", 200)
	patch("patch_cas_mismatch", map[string]any{"again": "no"}, 400, vault.WithCheckAndSet(1))
	s.step("patch_missing", func() (any, error) { return showValue(kv.Patch(s.ctx, path+"-missing", second())) }, 404)
	readVersion("write_read_version_1", 1, 200)
	s.step("versions_as_list", func() (any, error) { return kv.GetVersionsAsList(s.ctx, path) }, 200)
	s.step("rollback", func() (any, error) { return showValue(kv.Rollback(s.ctx, path, 2)) }, 200)
	s.step("delete_latest", func() (any, error) { return done(kv.Delete(s.ctx, path)) }, 204)
	read("delete_latest_read", 404)
	s.step("undelete", func() (any, error) { return done(kv.Undelete(s.ctx, path, []int{6})) }, 204)
	read("undelete_read", 200)
	s.step("delete_versions", func() (any, error) { return done(kv.DeleteVersions(s.ctx, path, []int{1, 2})) }, 204)
	readVersion("delete_versions_read", 1, 404)
	s.step("destroy_versions", func() (any, error) { return done(kv.Destroy(s.ctx, path, []int{2})) }, 204)
	readVersion("destroy_versions_read", 2, 404)
	s.step("undelete_destroyed", func() (any, error) { return done(kv.Undelete(s.ctx, path, []int{2})) }, 204)
	readVersion("undelete_destroyed_read", 2, 404)
	s.step("write_no_data", func() (any, error) { return answer(client.Logical().Write(raw, map[string]any{"value": "made-up"})) }, 400)
	s.step("write_bad_json", func() (any, error) { return answer(client.Logical().WriteBytes(raw, []byte(`{"data": `))) }, 400)
	s.step("write_array", func() (any, error) { return answer(client.Logical().WriteBytes(raw, []byte(`[1]`))) }, 400)
}

func (s *session) metadata(client *vault.Client) {
	kv, folder := client.KVv2(s.plan.KV2Mount), s.plan.WritablePrefix
	path := folder + "/one"
	read := func(name string) {
		s.step(name, func() (any, error) { return showMetadata(kv.GetMetadata(s.ctx, path)) }, 200)
	}
	list := func(name string, want int) {
		s.step(name, func() (any, error) { return answer(client.Logical().List(s.plan.KV2Mount + "/metadata/" + folder)) }, want)
	}
	read("metadata_versions")
	s.step("metadata_put", func() (any, error) {
		custom := map[string]any{"owner": "sdk-session", "rotation": "30d"}
		return done(kv.PutMetadata(s.ctx, path, vault.KVMetadataPutInput{CustomMetadata: custom}))
	}, 204)
	read("metadata_put_read")
	s.step("metadata_patch", func() (any, error) {
		custom := map[string]any{"rotation": "7d", "extra": "yes"}
		return done(kv.PatchMetadata(s.ctx, path, vault.KVMetadataPatchInput{CustomMetadata: custom}))
	}, 204)
	read("metadata_patch_read")
	s.step("metadata_in_value", func() (any, error) { return showValue(kv.Get(s.ctx, path)) }, 200)
	s.step("write_second_path", func() (any, error) { return showValue(kv.Put(s.ctx, folder+"/deeper/two", second())) }, 200)
	list("list_written", 200)
	s.step("metadata_delete", func() (any, error) { return done(kv.DeleteMetadata(s.ctx, path)) }, 204)
	s.step("metadata_delete_read", func() (any, error) { return showValue(kv.Get(s.ctx, path)) }, 404)
	s.step("metadata_delete_second", func() (any, error) { return done(kv.DeleteMetadata(s.ctx, folder+"/deeper/two")) }, 204)
	list("list_emptied", 404)
}

func (s *session) kv1(client *vault.Client) {
	plan := s.plan
	kv := client.KVv1(plan.KV1Mount)
	read := func(name, path string, want int) {
		s.step(name, func() (any, error) { return showValue(kv.Get(s.ctx, path)) }, want)
	}
	list := func(name, folder string, want int) {
		s.step(name, func() (any, error) { return answer(client.Logical().List(plan.KV1Mount + "/" + folder)) }, want)
	}
	read("kv1_read", plan.ReadonlyPrefix+"/one", 200)
	read("kv1_read_missing", plan.ReadonlyPrefix+"/missing", 404)
	list("kv1_list", plan.ReadonlyPrefix, 200)
	if plan.WritablePrefix == "" {
		return
	}
	path := plan.WritablePrefix + "/one"
	s.step("kv1_write", func() (any, error) {
		return done(kv.Put(s.ctx, path, map[string]any{"user": "one", "password": "made-up-kv1", "number": 7}))
	}, 204)
	read("kv1_write_read", path, 200)
	s.step("kv1_overwrite", func() (any, error) { return done(kv.Put(s.ctx, path, map[string]any{"user": "two"})) }, 204)
	read("kv1_overwrite_read", path, 200)
	list("kv1_list_written", plan.WritablePrefix, 200)
	s.step("kv1_delete", func() (any, error) { return done(kv.Delete(s.ctx, path)) }, 204)
	read("kv1_delete_read", path, 404)
}

func (s *session) refusals(client *vault.Client) {
	plan := s.plan
	known, denied := plan.ReadonlyPrefix+"/db", plan.DeniedPath
	unknown, nobody := s.newClient(unknownToken), s.newClient("")
	read := func(name string, client *vault.Client, mount, path string) {
		s.step(name, func() (any, error) { return showValue(client.KVv2(mount).Get(s.ctx, path)) }, 403)
	}
	kv := client.KVv2(plan.KV2Mount)
	folder := denied[:max(strings.LastIndex(denied, "/"), 0)]
	read("unknown_token_read", unknown, plan.KV2Mount, known)
	s.step("unknown_token_lookup", func() (any, error) { return answer(unknown.Auth().Token().LookupSelf()) }, 403)
	read("no_token_read", nobody, plan.KV2Mount, known)
	s.step("no_token_write", func() (any, error) { return showValue(nobody.KVv2(plan.KV2Mount).Put(s.ctx, known, second())) }, 403)
	read("denied_read", client, plan.KV2Mount, denied)
	read("denied_missing", client, plan.KV2Mount, denied+"-missing")
	s.step("denied_write", func() (any, error) { return showValue(kv.Put(s.ctx, denied, second())) }, 403)
	s.step("denied_delete", func() (any, error) { return done(kv.Delete(s.ctx, denied)) }, 403)
	s.step("denied_metadata", func() (any, error) { return showMetadata(kv.GetMetadata(s.ctx, denied)) }, 403)
	s.step("denied_list", func() (any, error) { return answer(client.Logical().List(plan.KV2Mount + "/metadata/" + folder)) }, 403)
	read("unknown_mount_read", client, plan.UnknownMount, "any")
	s.step("unknown_mount_list", func() (any, error) { return answer(client.Logical().List(plan.UnknownMount + "/any")) }, 403)
}

func (s *session) wrapping(client *vault.Client) {
	path := s.plan.KV2Mount + "/data/" + s.plan.ReadonlyPrefix + "/db"
	want := 400
	if s.plan.ExpectWrap {
		want = 200
	}
	wrapping := s.newClient(client.Token())
	wrapping.SetWrappingLookupFunc(func(string, string) string { return "60s" })
	var wrapped *vault.Secret
	ok := s.step("wrapped_read", func() (any, error) {
		var err error
		wrapped, err = wrapping.Logical().Read(path)
		return answer(wrapped, err)
	}, want)
	if !s.plan.ExpectWrap || !ok || wrapped == nil || wrapped.WrapInfo == nil {
		return
	}
	unwrap := func() (any, error) { return answer(client.Logical().Unwrap(wrapped.WrapInfo.Token)) }
	s.step("unwrap", unwrap, 200)
	s.step("unwrap_again", unwrap, 400, 403)
}

func (s *session) tokens(client *vault.Client) {
	plan, own := s.plan, client.Auth().Token()
	lookup := func() (any, error) { return answer(own.LookupSelf()) }
	if client.Token() != "" {
		s.step("renew_self", func() (any, error) { return answer(own.RenewSelf(0)) }, 200)
		s.step("renew_self_increment", func() (any, error) { return answer(own.RenewSelf(1800)) }, 200)
		s.step("renew_self_lookup", lookup, 200)
		s.step("lifetime_watcher", func() (any, error) { return s.watch(client) }, 200)
	}
	if len(plan.ChildPolicies) > 0 {
		s.childToken(client)
	}
	if plan.AppRole != nil {
		s.step("revoke_self", func() (any, error) { return done(own.RevokeSelf("")) }, 204)
		s.step("revoke_self_lookup", lookup, 403)
		s.step("revoke_self_read", func() (any, error) {
			return showValue(client.KVv2(plan.KV2Mount).Get(s.ctx, plan.ReadonlyPrefix+"/db"))
		}, 403)
	}
}

// watch lets the client's own renewer run until it has renewed the token once, which it does at once.
func (s *session) watch(client *vault.Client) (any, error) {
	self, err := client.Auth().Token().RenewSelf(0)
	if err != nil {
		return nil, err
	}
	watcher, err := client.NewLifetimeWatcher(&vault.LifetimeWatcherInput{Secret: self})
	if err != nil {
		return nil, err
	}
	go watcher.Start()
	defer watcher.Stop()
	select {
	case renewed := <-watcher.RenewCh():
		return answer(renewed.Secret, nil)
	case err := <-watcher.DoneCh():
		return nil, fmt.Errorf("the watcher gave up: %w", err)
	case <-time.After(20 * time.Second):
		return nil, fmt.Errorf("the watcher renewed nothing in 20 s")
	}
}

func (s *session) childToken(client *vault.Client) {
	plan := s.plan
	create := func(policies []string) (*vault.Secret, error) {
		return client.Auth().Token().Create(&vault.TokenCreateRequest{
			Policies: policies, TTL: "5m", DisplayName: "sdk-session", Metadata: map[string]string{"purpose": "sdk-session"},
		})
	}
	s.step("child_superset", func() (any, error) { return answer(create(append([]string{"not-mine"}, plan.ChildPolicies...))) }, 400)
	var created *vault.Secret
	ok := s.step("child_create", func() (any, error) {
		var err error
		created, err = create(plan.ChildPolicies)
		return answer(created, err)
	}, 200)
	if !ok || created == nil || created.Auth == nil {
		return
	}
	child := s.newClient(created.Auth.ClientToken)
	own, kv := child.Auth().Token(), child.KVv2(plan.KV2Mount)
	lookup := func() (any, error) { return answer(own.LookupSelf()) }
	read := func() (any, error) { return showValue(kv.Get(s.ctx, plan.ReadonlyPrefix+"/db")) }
	s.step("child_lookup", lookup, 200)
	s.step("child_read", read, 200)
	if plan.WritablePrefix != "" {
		s.step("child_write", func() (any, error) { return showValue(kv.Put(s.ctx, plan.WritablePrefix+"/child", second())) }, 403)
	}
	s.step("child_renew", func() (any, error) { return answer(own.RenewSelf(0)) }, 200)
	s.step("child_revoke", func() (any, error) { return done(own.RevokeSelf("")) }, 204)
	s.step("child_after_revoke_lookup", lookup, 403)
	s.step("child_after_revoke_read", read, 403)
}

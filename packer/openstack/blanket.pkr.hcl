# An image of the qcow2 that ./dev image --format qcow2 made, fetched by Glance from where you put it, started once and checked.
#   packer build -var image_url=https://HOST/blanket-VERSION-amd64.qcow2 -var network=UUID packer/openstack
variable "image_url" {
  type = string
}

variable "network" {
  type = string
}

variable "identity_endpoint" {
  type    = string
  default = ""
}

variable "username" {
  type    = string
  default = ""
}

variable "password" {
  type      = string
  default   = ""
  sensitive = true
}

variable "project" {
  type    = string
  default = ""
}

variable "flavor" {
  type    = string
  default = "m1.medium"
}

source "openstack" "blanket" {
  identity_endpoint            = var.identity_endpoint
  username                     = var.username
  password                     = var.password
  tenant_name                  = var.project
  domain_name                  = "Default"
  region                       = "RegionOne"
  external_source_image_url    = var.image_url
  external_source_image_format = "qcow2"
  image_name                   = "blanket"
  flavor                       = var.flavor
  networks                     = [var.network]
  ssh_username                 = "root"
}

build {
  sources = ["source.openstack.blanket"]

  provisioner "shell" {
    inline = ["blanket doctor"]
  }

  post-processor "manifest" {
    output = "packer-manifest.json"
  }
}

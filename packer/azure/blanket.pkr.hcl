# A managed image out of the VHD that ./dev image --format vhd made and that was uploaded as a blob (PROVIDERS.md). It has no network there: see the limits.
#   packer build -var vhd_url=https://ACCOUNT.blob.core.windows.net/images/blanket.vhd -var group=GROUP ... packer/azure
variable "vhd_url" {
  type = string
}

variable "group" {
  type = string
}

variable "storage_account" {
  type = string
}

variable "location" {
  type    = string
  default = "westeurope"
}

variable "subscription_id" {
  type = string
}

variable "tenant_id" {
  type    = string
  default = ""
}

variable "client_id" {
  type = string
}

variable "client_secret" {
  type      = string
  sensitive = true
}

source "azure-arm" "blanket" {
  subscription_id        = var.subscription_id
  tenant_id              = var.tenant_id
  client_id              = var.client_id
  client_secret          = var.client_secret
  image_url              = var.vhd_url
  resource_group_name    = var.group
  storage_account        = var.storage_account
  capture_container_name = "images"
  capture_name_prefix    = "blanket"
  location               = var.location
  os_type                = "Linux"
  vm_size                = "Standard_B2ms"
  ssh_username           = "root"
}

build {
  sources = ["source.azure-arm.blanket"]

  provisioner "shell" {
    inline = ["blanket doctor || true"]
  }

  post-processor "manifest" {
    output = "packer-manifest.json"
  }
}

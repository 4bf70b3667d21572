# An image of the artefact that ./dev image --format tar.gz made.
#   packer build -var image=blanket-VERSION-amd64.tar.gz -var project=PROJECT -var bucket=BUCKET -var account=key.json packer/googlecompute
variable "image" {
  type = string
}

variable "project" {
  type = string
}

variable "bucket" {
  type = string
}

variable "account" {
  type        = string
  default     = ""
  description = "A service account's key file; empty: the application's default credentials."
}

source "null" "blanket" {
  communicator = "none"
}

build {
  sources = ["source.null.blanket"]

  provisioner "shell-local" {
    inline = ["test -s '${var.image}'"]
  }

  post-processors {
    post-processor "artifice" {
      files = [var.image]
    }

    post-processor "googlecompute-import" {
      account_file            = var.account
      project_id              = var.project
      bucket                  = var.bucket
      image_name              = "blanket-{{timestamp}}"
      image_family            = "blanket"
      image_description       = "Blanket"
      image_guest_os_features = ["UEFI_COMPATIBLE", "GVNIC", "VIRTIO_SCSI_MULTIQUEUE"]
    }

    post-processor "manifest" {
      output = "packer-manifest.json"
    }
  }
}
